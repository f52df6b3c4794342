//! Where sample cases take place: an agency, its calendar day, its staff and its partners.

use entities::clock::{Day, Instant};
use entities::workflow::zone::Zone;
use entities::{Actor, Role};

/// An agency as the generator needs it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// Agency id.
    pub(crate) agency_id: String,
    /// Zone of its days.
    pub(crate) zone: Zone,
    /// Today on its walls.
    pub(crate) today: Day,
    /// Now.
    pub(crate) now: Instant,
    /// Partner organisations: id, and the kind of need each answers.
    pub(crate) partners: Vec<(String, String)>,
}

impl Scene {
    /// The day that lies so many days after today.
    pub(crate) fn day(&self, offset: i64) -> Day {
        self.today.plus_days(offset)
    }

    /// The instant at which the agency's clocks show this hour and minute, so many days from today.
    pub(crate) fn at(&self, offset: i64, hour: u32, minute: u32) -> Instant {
        let wall = self.day(offset).0.and_hms_opt(hour % 24, minute % 60, 0).unwrap_or_default();
        self.zone.instant(wall)
    }
}

/// A member of staff.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// User id.
    pub(crate) id: String,
    /// Team.
    pub(crate) team_id: Option<String>,
    /// Role.
    pub(crate) role: Role,
}

impl Worker {
    /// This person, acting in the agency.
    pub(crate) fn actor(&self, scene: &Scene) -> Actor {
        Actor { agency_id: scene.agency_id.clone(), user_id: Some(self.id.clone()), role: self.role, device_id: None }
    }
}
