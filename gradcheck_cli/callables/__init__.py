"""The user's own functions: loaded, judged as maps, and what went wrong named. `gradcheck function`, and the drop-in."""
