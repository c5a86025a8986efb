"""The long memory: events and pictures of whole runs in a store, and what a question calls up of them."""
