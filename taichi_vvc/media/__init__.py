"""Pictures, videos, charts and figures of quality."""
