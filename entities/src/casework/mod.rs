//! The casework tables: one file each.

pub mod goal;
