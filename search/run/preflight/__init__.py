"""What can be known to fail is found before a process is started or a folder is written."""
