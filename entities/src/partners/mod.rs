//! Partner organisations and what is asked of them: one file each.

pub mod organization;
pub mod referral;
pub mod referral_event;
