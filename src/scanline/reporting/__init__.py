"""One page that shows a run: its verdict, its figures, its mistakes, and all that is needed to repeat it."""
