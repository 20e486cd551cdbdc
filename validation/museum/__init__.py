"""The museum: public failures of the field's libraries, re-created here, and the check that notices each."""
