//! What may happen, and how a seed becomes a schedule of it.

/// One step of a schedule. Numbers are reduced to what there is when the step is taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Sync {
        device: usize,
        limit: usize,
        pull: usize,
        push: usize,
        twice: bool,
    },
    PullPage {
        device: usize,
        limit: usize,
    },
    WriteNote {
        device: usize,
        case: usize,
    },
    EditNote {
        device: usize,
        row: usize,
    },
    NarrowNote {
        device: usize,
        row: usize,
    },
    WriteGoal {
        device: usize,
        case: usize,
    },
    EditGoal {
        device: usize,
        row: usize,
        column: usize,
    },
    DropGoal {
        device: usize,
        row: usize,
    },
    OpenCase {
        device: usize,
    },
    EditPerson {
        device: usize,
        row: usize,
    },
    DeskEditsGoal {
        row: usize,
        column: usize,
    },
    HandOver {
        case: usize,
        to: usize,
        immediate: bool,
    },
    Cover {
        case: usize,
        who: usize,
        hours: i64,
    },
    MovePerson {
        person: usize,
        case: usize,
    },
    TimePasses {
        minutes: i64,
    },
    /// The server dies in the middle of a push, or of a pull, after so many waits.
    Crash {
        device: usize,
        pulls: bool,
        after: usize,
    },
    /// A device of the other kind replicates some of its tables, each by itself.
    Replicate {
        laptop: usize,
        first: usize,
        parts: usize,
        limit: usize,
        pull: usize,
        push: usize,
    },
    WriteThere {
        laptop: usize,
        case: usize,
        goal: bool,
    },
    EditThere {
        laptop: usize,
        row: usize,
        column: usize,
    },
    DropThere {
        laptop: usize,
        row: usize,
    },
    CrashThere {
        laptop: usize,
        table: usize,
        pulls: bool,
        after: usize,
    },
    /// A push or a pull leaves a phone, or a device of another kind, and is not heard of any more.
    SetsOff {
        device: usize,
        table: usize,
        pulls: bool,
    },
    /// One that was taken for lost arrives, after whatever came later.
    Arrives {
        which: usize,
    },
    /// Somebody settles kept work that they were told of: takes it in, gives it to another case, or leaves it.
    Decide {
        issue: usize,
        how: usize,
        case: usize,
    },
    /// A phone adds to a list of a goal, or takes something out of it.
    EditList {
        device: usize,
        row: usize,
        out: bool,
    },
    /// The same on a device of another kind.
    EditListThere {
        laptop: usize,
        row: usize,
        out: bool,
    },
    /// The native device says what somebody did to a case, and why.
    Act {
        row: usize,
        verb: usize,
    },
    Backup,
    /// The last backup takes the place of the database, as an operator does it.
    Restore,
    /// After some time away, deletions older than so many days are forgotten.
    Purge {
        days: u32,
        hours: i64,
    },
    /// The app is updated where it lacked a table; else installed anew in a version that lacks one.
    App {
        device: usize,
        table: usize,
    },
    /// A device's clock is set wrong, by years even.
    DeviceClock {
        device: usize,
        minutes: i64,
    },
    /// The server's clock steps.
    ServerClock {
        minutes: i64,
    },
}

/// A small generator of our own numbers: the same seed gives the same schedule on every machine.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.roll(1 << 20)).unwrap_or(0)
    }

    fn step(&mut self) -> Step {
        match self.roll(170) {
            0..30 => Step::Sync {
                device: self.any(),
                limit: self.any(),
                pull: self.any(),
                push: self.any(),
                twice: self.roll(8) == 0,
            },
            30..34 => Step::PullPage { device: self.any(), limit: self.any() },
            34..46 => Step::WriteNote { device: self.any(), case: self.any() },
            46..51 => Step::EditNote { device: self.any(), row: self.any() },
            51..54 => Step::NarrowNote { device: self.any(), row: self.any() },
            54..60 => Step::WriteGoal { device: self.any(), case: self.any() },
            60..68 => Step::EditGoal { device: self.any(), row: self.any(), column: self.any() },
            68..70 => Step::DropGoal { device: self.any(), row: self.any() },
            70..72 => Step::OpenCase { device: self.any() },
            72..75 => Step::EditPerson { device: self.any(), row: self.any() },
            75..79 => Step::DeskEditsGoal { row: self.any(), column: self.any() },
            79..87 => Step::HandOver { case: self.any(), to: self.any(), immediate: self.roll(4) == 0 },
            87..90 => Step::Cover { case: self.any(), who: self.any(), hours: 1 + self.roll(30) as i64 },
            90..94 => Step::MovePerson { person: self.any(), case: self.any() },
            94..100 => Step::TimePasses { minutes: 1 + self.roll(900) as i64 },
            100..103 => Step::Crash { device: self.any(), pulls: self.roll(3) == 0, after: 1 + self.roll(60) as usize },
            103..105 => Step::Backup,
            105..107 => Step::Restore,
            107..109 => Step::Purge { days: 1 + self.roll(3) as u32, hours: self.roll(96) as i64 },
            109..112 => Step::App { device: self.any(), table: self.any() },
            112..114 => {
                let years = self.roll(9) as i64 - 4;
                Step::DeviceClock { device: self.any(), minutes: years * 525_600 + self.roll(600) as i64 }
            }
            116..130 => Step::Replicate {
                laptop: self.any(),
                first: self.any(),
                parts: self.any(),
                limit: self.any(),
                pull: self.any(),
                push: self.any(),
            },
            130..136 => Step::WriteThere { laptop: self.any(), case: self.any(), goal: self.roll(2) == 0 },
            136..143 => Step::EditThere { laptop: self.any(), row: self.any(), column: self.any() },
            143 => Step::DropThere { laptop: self.any(), row: self.any() },
            144..146 => Step::CrashThere {
                laptop: self.any(),
                table: self.any(),
                pulls: self.roll(3) == 0,
                after: 1 + self.roll(60) as usize,
            },
            146..150 => Step::SetsOff { device: self.any(), table: self.any(), pulls: self.roll(3) == 0 },
            150..154 => Step::Arrives { which: self.any() },
            154..159 => Step::Decide { issue: self.any(), how: self.any(), case: self.any() },
            159..163 => Step::EditList { device: self.any(), row: self.any(), out: self.roll(3) == 0 },
            163..167 => Step::EditListThere { laptop: self.any(), row: self.any(), out: self.roll(3) == 0 },
            167..170 => Step::Act { row: self.any(), verb: self.any() },
            _ => Step::ServerClock { minutes: self.roll(25) as i64 - 12 },
        }
    }
}

pub(super) fn schedule(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let length = 20 + dice.roll(60);
    (0..length).map(|_| dice.step()).collect()
}
