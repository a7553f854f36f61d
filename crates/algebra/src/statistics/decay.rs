//! What time takes away: sums and averages whose older parts count less.
