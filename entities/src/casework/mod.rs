//! The casework tables: one file each.

pub mod case;
pub mod case_assignment;
pub mod case_party;
pub mod contact;
pub mod goal;
pub mod goal_rating;
pub mod note;
pub mod person;
