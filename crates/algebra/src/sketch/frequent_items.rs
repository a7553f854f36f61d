//! frequent_items.
