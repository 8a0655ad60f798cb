"""Client: the async way to a running stack, over Web. `ArbigClient` asks and acts, `Feed` listens."""
