"""The ground floor: files, errors, seeds, credentials, text."""
