"""Sightline: labelled images in, a trained, evaluated, explained and deployable classifier out."""
