-- Replies how many items one end (ARGV[4]) has to take, without the end of file, and 1 if the end of file follows them.
return count_items(ARGV[4])
