"""The set-up of a project of one's own: a look at the images and the machine, reasoned settings, the files."""
