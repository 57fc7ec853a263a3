"""The commands as functions: each one reads rasters or a workspace, runs one stage, and writes its results."""
