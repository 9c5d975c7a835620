"""Set-up of a new project: inspects the images and the machine, chooses settings with reasons, writes the files."""
