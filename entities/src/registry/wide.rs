//! Twenty-six tables that hold nothing. Only in a build with the feature `wide`, by which the
//! benchmark measures an agency's server with forty tables.

use super::Table;

macro_rules! wide {
    ($($room:ident $name:tt),+ $(,)?) => {
        $(
            #[expect(missing_docs, reason = "it holds nothing")]
            pub mod $room {
                use sea_orm::entity::prelude::*;

                use crate::access::Stand;
                use crate::clock::Instant;
                use crate::registry::{Field, Synced};

                #[sea_orm::model]
                #[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
                #[sea_orm(table_name = $name)]
                pub struct Model {
                    #[sea_orm(primary_key, auto_increment = false)]
                    pub id: String,
                    pub agency_id: String,
                    pub case_id: String,
                    pub title: Option<String>,
                    pub seq: i64,
                    pub edit_seq: i64,
                    pub created_at: Instant,
                    pub updated_at: Instant,
                    pub created_by: Option<String>,
                    pub updated_by: Option<String>,
                    pub deleted_at: Option<Instant>,
                }

                impl ActiveModelBehavior for ActiveModel {}

                impl Synced for Entity {
                    const NAME: &'static str = $name;
                    const RANK: u8 = 90;

                    fn field(column: Column) -> Field {
                        match column {
                            Column::Id => Field::id().once(),
                            Column::AgencyId => Field::id().hidden(),
                            Column::CaseId => Field::refer("cases").once().required(),
                            Column::Title => Field::text(200),
                            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
                            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
                            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
                            Column::DeletedAt => Field::instant().hidden(),
                        }
                    }

                    fn stands(row: &Model) -> Vec<Stand> {
                        vec![Stand::Case(row.case_id.clone())]
                    }
                }
            }
        )+

        pub(super) fn tables() -> Vec<Table> {
            vec![$(Table::of::<$room::Entity>()),+]
        }
    };
}

wide!(
    a "wide_a", b "wide_b", c "wide_c", d "wide_d", e "wide_e", f "wide_f", g "wide_g", h "wide_h", i "wide_i",
    j "wide_j", k "wide_k", l "wide_l", m "wide_m", n "wide_n", o "wide_o", p "wide_p", q "wide_q", r "wide_r",
    s "wide_s", t "wide_t", u "wide_u", v "wide_v", w "wide_w", x "wide_x", y "wide_y", z "wide_z",
);
