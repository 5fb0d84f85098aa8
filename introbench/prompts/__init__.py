"""What is asked: the files in `datasets/`, chats, questions, conversations, published files."""
