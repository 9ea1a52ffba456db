"""Work in the background: handlers, messages, questions, ends of subscriptions, forwards."""
