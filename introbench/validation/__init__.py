"""Does the instrument give the right verdict on models whose truth is known?"""
