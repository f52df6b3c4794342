//! What one column is: its type, its limits, and who decides its value.

use crate::bulk::Class;

/// The type of a column and the limits of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text of at most this many characters.
    Text(usize),
    /// One word out of a list.
    Code(&'static [&'static str]),
    /// The id of a row; 8 to 64 of `A-Z a-z 0-9 . _ -`.
    Id,
    /// A calendar date without a zone.
    Date,
    /// A point in time.
    Instant,
    /// A whole number from the first to the second value, both included.
    Int(i64, i64),
    /// A number from the first to the second value, both included.
    Real(f64, f64),
    /// True or false.
    Bool,
    /// A list or an object, at most this many bytes as JSON text.
    Json(usize),
}

impl Kind {
    /// How it is stored.
    pub(crate) fn class(&self) -> Class {
        match self {
            Kind::Int(..) | Kind::Instant => Class::Bigint,
            Kind::Real(..) => Class::Double,
            Kind::Bool => Class::Boolean,
            Kind::Text(_) | Kind::Code(_) | Kind::Id | Kind::Date | Kind::Json(_) => Class::Text,
        }
    }

    /// The name in `GET /sync/schema` under `holds`; none for plain text, numbers and booleans.
    pub fn holds(&self) -> Option<&'static str> {
        match self {
            Kind::Text(_) => Some("text"),
            Kind::Id => Some("text"),
            Kind::Code(_) => Some("code"),
            Kind::Date => Some("date"),
            Kind::Instant => Some("instant"),
            Kind::Json(_) => Some("json"),
            Kind::Int(..) | Kind::Real(..) | Kind::Bool => None,
        }
    }
}

/// Who decides a column's value, and how two values that differ are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The server sets it; what a device sends is ignored.
    Server,
    /// Given when the row is made and never again, such as the case a note belongs to.
    Once,
    /// An ordinary field: three-way by value, the loser kept in history.
    Field,
    /// A list, item by item: what two people add to it both stays; see `items.rs`.
    Items,
    /// Changes only by a legal move of the row's state machine.
    State,
    /// The most protective value wins over sync, whatever the clocks say: true over false, a
    /// value over none, a later word of the list of codes over an earlier one (so list them from
    /// the widest to the narrowest). Loosening needs a call over REST.
    Protective,
}

/// A column as its entity declares it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Type and limits.
    pub kind: Kind,
    /// Who decides.
    pub merge: Merge,
    /// Must be present when the row is made.
    pub required: bool,
    /// Schema version in which the column appeared.
    pub since: u32,
    /// Leaves the server; false for what only the server uses.
    pub wire: bool,
    /// Value of a new row that names none, as JSON text would show it without quotes.
    pub default: Option<&'static str>,
    /// A partner organisation may read it.
    pub partner: bool,
    /// The table whose row it names; who writes it must see that row, and a row of a case names
    /// rows of that case only.
    pub refers: Option<&'static str>,
    /// The word of a new row whose own nobody understands, where words decide who sees it.
    pub in_doubt: Option<&'static str>,
    /// A record of what a client agrees to: its `withdrawn` is not taken back through sync.
    pub agreement: bool,
    /// What a list or an object holds.
    pub holds: Option<Holds>,
}

/// Whether a JSON column holds a list or an object, which is checked, and of what, as the members of a JSON schema:
/// what apps agree on, of which the entity's own `check` looks at what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A list.
    List(&'static str),
    /// An object.
    Object(&'static str),
}

impl Holds {
    /// How its JSON text begins, and what to say of a text that begins otherwise.
    pub(crate) fn opens(self) -> (char, &'static str) {
        match self {
            Holds::List(_) => ('[', "must be a list"),
            Holds::Object(_) => ('{', "must be an object"),
        }
    }
}

impl Field {
    const fn of(kind: Kind) -> Field {
        Field {
            kind,
            merge: Merge::Field,
            required: false,
            since: 1,
            wire: true,
            default: None,
            partner: false,
            refers: None,
            in_doubt: None,
            agreement: false,
            holds: None,
        }
    }
    /// Text of at most `max` characters.
    pub const fn text(max: usize) -> Field {
        Field::of(Kind::Text(max))
    }
    /// One word of a list.
    pub const fn code(words: &'static [&'static str]) -> Field {
        Field::of(Kind::Code(words))
    }
    /// The id of another row.
    pub const fn id() -> Field {
        Field::of(Kind::Id)
    }
    /// The id of a row of that table.
    pub const fn refer(table: &'static str) -> Field {
        Field { refers: Some(table), ..Field::id() }
    }
    /// A calendar date.
    pub const fn date() -> Field {
        Field::of(Kind::Date)
    }
    /// A point in time.
    pub const fn instant() -> Field {
        Field::of(Kind::Instant)
    }
    /// A whole number.
    pub const fn int(min: i64, max: i64) -> Field {
        Field::of(Kind::Int(min, max))
    }
    /// A number.
    pub const fn real(min: f64, max: f64) -> Field {
        Field::of(Kind::Real(min, max))
    }
    /// True or false; a new row has false.
    pub const fn boolean() -> Field {
        Field { default: Some("false"), ..Field::of(Kind::Bool) }
    }
    /// A list or an object of at most 64 KiB.
    pub const fn json(holds: Holds) -> Field {
        Field { holds: Some(holds), ..Field::of(Kind::Json(65_536)) }
    }
    /// A list of at most 64 KiB that is merged item by item.
    pub const fn items(members: &'static str) -> Field {
        Field { merge: Merge::Items, ..Field::json(Holds::List(members)) }
    }
    /// Set by the server only.
    pub const fn server(self) -> Field {
        Field { merge: Merge::Server, ..self }
    }
    /// Set by the server and never sent.
    pub const fn hidden(self) -> Field {
        Field { merge: Merge::Server, wire: false, ..self }
    }
    /// Given at creation and never changed.
    pub const fn once(self) -> Field {
        Field { merge: Merge::Once, ..self }
    }
    /// Changed only by moves.
    pub const fn state(self) -> Field {
        Field { merge: Merge::State, ..self }
    }
    /// Tightens freely and loosens only online.
    pub const fn protective(self) -> Field {
        Field { merge: Merge::Protective, ..self }
    }
    /// What a new row has whose word nobody understands, since other words of the column show it to more people.
    pub const fn in_doubt(self, word: &'static str) -> Field {
        Field { in_doubt: Some(word), ..self }
    }
    /// Holds what a client agrees to.
    pub const fn agreement(self) -> Field {
        Field { agreement: true, ..self }
    }
    /// Must be present at creation.
    pub const fn required(self) -> Field {
        Field { required: true, ..self }
    }
    /// The value of a new row that names none.
    pub const fn or(self, default: &'static str) -> Field {
        Field { default: Some(default), ..self }
    }
    /// Appeared in this schema version.
    pub const fn since(self, version: u32) -> Field {
        Field { since: version, ..self }
    }
    /// May be read by the partner organisation a referral is addressed to.
    pub const fn partner(self) -> Field {
        Field { partner: true, ..self }
    }
    /// A device may send it: at creation, as an ordinary field or as a move.
    pub const fn writable(&self) -> bool {
        !matches!(self.merge, Merge::Server)
    }
}
