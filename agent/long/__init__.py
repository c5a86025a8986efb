"""Long errands: what a planner needs beside it to keep at one goal for an hour."""
