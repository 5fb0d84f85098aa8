"""Tables and pictures of logs; loads without torch."""
