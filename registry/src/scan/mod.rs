//! Looks through the files of a layer while it streams by. It never keeps more of a layer than the head of one file.
