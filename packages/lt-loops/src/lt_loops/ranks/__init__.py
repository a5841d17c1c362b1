"""What the processes of one machine share beside torch's process group."""
