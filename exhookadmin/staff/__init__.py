"""The people who use this site: what they may do, how they prove who they are, and what they did."""
