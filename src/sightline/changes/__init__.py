"""Changes of a project since its last results: the stages that are out of date, and the reasons."""
