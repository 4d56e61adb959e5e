"""Other people's stacks against ours."""
