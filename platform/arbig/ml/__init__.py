"""Models: sets built from stored bars, models trained and judged, served to strategies. Needs the `ml` extra.

Ray spreads the work (Data, Train) and answers (Serve); everything it does is a plain function that also runs here.
"""
