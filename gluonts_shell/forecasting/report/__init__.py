"""What a job was like -> one self-contained HTML page, for who has to decide about the model.

report   what the page tells, and its place on the disk
page     the page: its sections in their order
figures  charts, each with a sentence, a key and its numbers
verdict  scores beside seasonal naive's -> what they mean in words
tables   numbers, texts and tables as HTML; all that comes from the data is escaped there
charts   pictures by matplotlib, where that is installed
style    how it looks, light and dark, on a desk and on a phone
course   what a job's steps took, and what it warned of
"""
