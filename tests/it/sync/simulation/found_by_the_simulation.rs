//! Schedules that once broke a rule, by what went wrong. Each is played on the engine and again over HTTP.

use super::steps::Step;
use super::steps::Step::{
    Arrives, Backup, Cover, DeskEditsGoal, DropGoal, EditGoal, EditThere, HandOver, MovePerson, NarrowNote, Purge,
    Replicate, Restore, SetsOff, Sync, TimePasses, WriteGoal, WriteNote, WriteThere,
};
use super::{attempt, quietly};
use crate::support::Kind;
use crate::sync::ways::Way;

fn holds(steps: &[Step]) {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        for way in [Way::Engine, Way::Http] {
            assert_eq!(quietly(|| attempt(kind, way, steps)), Ok(()), "{kind:?}, {way:?}");
        }
    }
}

#[test]
fn a_page_that_ended_between_a_loss_and_a_later_change_stepped_over_the_row() {
    holds(&[
        Sync { device: 413_083, limit: 52_050, pull: 209_518, push: 928_743, twice: true },
        HandOver { case: 366_019, to: 94_728, immediate: false },
        MovePerson { person: 1_028_943, case: 263_706 },
        Sync { device: 83_668, limit: 697_800, pull: 270_648, push: 720_019, twice: false },
    ]);
}

#[test]
fn an_edit_of_a_row_that_never_arrived_failed_the_whole_push() {
    holds(&[
        Sync { device: 632_241, limit: 704_742, pull: 113_606, push: 71_414, twice: false },
        HandOver { case: 454_941, to: 60_916, immediate: true },
        WriteNote { device: 413_856, case: 882_691 },
        Sync { device: 1_009_426, limit: 704_710, pull: 566_836, push: 151_867, twice: false },
        NarrowNote { device: 62_491, row: 262_167 },
    ]);
}

#[test]
fn a_row_written_after_a_cover_had_ended_counted_as_seen() {
    holds(&[
        Cover { case: 244_462, who: 376_565, hours: 15 },
        Sync { device: 599_208, limit: 122_671, pull: 585_869, push: 819_723, twice: false },
        TimePasses { minutes: 758 },
        TimePasses { minutes: 305 },
        MovePerson { person: 1_038_531, case: 540_170 },
    ]);
}

#[test]
fn a_lost_reply_with_held_deletes_was_taken_as_arrived() {
    holds(&[
        Sync { device: 868_241, limit: 386_083, pull: 476_263, push: 115_523, twice: false },
        WriteNote { device: 390_386, case: 180_485 },
        HandOver { case: 677_896, to: 342_122, immediate: false },
        Sync { device: 620_706, limit: 870_589, pull: 1_039_018, push: 100_687, twice: false },
        Sync { device: 140_356, limit: 391_943, pull: 265_821, push: 232_685, twice: false },
        WriteGoal { device: 218_101, case: 71_460 },
    ]);
}

#[test]
fn a_backup_restored_twice_opened_the_same_epoch_twice() {
    holds(&[
        Backup,
        Restore,
        HandOver { case: 888_868, to: 419_450, immediate: true },
        Sync { device: 568_829, limit: 309_166, pull: 1_012_478, push: 79_837, twice: false },
        Restore,
    ]);
}

#[test]
fn a_row_whose_answer_was_lost_stayed_when_its_end_had_been_forgotten() {
    holds(&[
        Sync { device: 952_705, limit: 423_316, pull: 91_997, push: 359_215, twice: false },
        WriteGoal { device: 736_390, case: 2484 },
        Sync { device: 686_965, limit: 587_057, pull: 937_406, push: 615_631, twice: false },
        HandOver { case: 600_116, to: 504_992, immediate: false },
        Purge { days: 1, hours: 27 },
    ]);
}

#[test]
fn a_push_that_had_not_been_pulled_again_was_not_salvaged() {
    holds(&[
        Sync { device: 174_288, limit: 285_391, pull: 789_694, push: 636_745, twice: false },
        WriteGoal { device: 198_463, case: 348_826 },
        Sync { device: 550_713, limit: 1, pull: 9, push: 1, twice: false },
        EditGoal { device: 819_868, row: 476_907, column: 497_130 },
        Backup,
        Sync { device: 515_993, limit: 911_887, pull: 429_288, push: 535_028, twice: false },
        Restore,
    ]);
}

#[test]
fn an_issue_offered_to_a_restored_server_failed_the_push_that_brought_it_about() {
    holds(&[
        Sync { device: 562_556, limit: 349_402, pull: 716_865, push: 81_512, twice: false },
        WriteNote { device: 212_906, case: 914_734 },
        HandOver { case: 77_360, to: 957_346, immediate: false },
        Backup,
        Sync { device: 135_486, limit: 815_984, pull: 963_804, push: 939_532, twice: false },
        Sync { device: 791_176, limit: 628_792, pull: 1_031_839, push: 309_752, twice: false },
        Restore,
    ]);
}

#[test]
fn an_edit_that_only_a_device_still_had_was_dropped_when_another_deleted_the_row() {
    holds(&[
        Sync { device: 901_480, limit: 626_251, pull: 148_549, push: 317_418, twice: false },
        WriteGoal { device: 410_290, case: 774_518 },
        Sync { device: 110_100, limit: 1_002_140, pull: 785_225, push: 994_173, twice: false },
        Backup,
        DeskEditsGoal { row: 52_772, column: 865_448 },
        DropGoal { device: 705_095, row: 81_223 },
        Sync { device: 507_386, limit: 954_114, pull: 475_447, push: 73_258, twice: false },
        Restore,
    ]);
}

#[test]
fn a_row_passed_over_while_it_was_unsent_stayed_as_it_was_when_its_answer_was_lost() {
    holds(&[
        Replicate { laptop: 78_576, first: 851_391, parts: 405_171, limit: 789_844, pull: 71_463, push: 138_528 },
        WriteThere { laptop: 1_010_240, case: 21_916, goal: true },
        Replicate { laptop: 518_158, first: 963_883, parts: 378_629, limit: 43_403, pull: 829_144, push: 1_034_211 },
    ]);
}

#[test]
fn work_on_a_case_whose_loss_had_been_forgotten_waited_for_the_case() {
    holds(&[
        HandOver { case: 723_617, to: 345_325, immediate: true },
        Replicate { laptop: 404_307, first: 1_044_915, parts: 299_326, limit: 302_403, pull: 761_107, push: 322_056 },
        HandOver { case: 457_693, to: 64_967, immediate: false },
        WriteThere { laptop: 492_963, case: 669_070, goal: false },
        Purge { days: 3, hours: 77 },
    ]);
}

#[test]
fn a_row_made_before_the_first_full_page_stayed_when_its_case_was_lost() {
    holds(&[
        Cover { case: 337_954, who: 146_322, hours: 18 },
        TimePasses { minutes: 643 },
        Replicate { laptop: 837_242, first: 390_735, parts: 84_725, limit: 296_854, pull: 67_424, push: 798_525 },
        WriteThere { laptop: 906_628, case: 866_219, goal: false },
        Replicate { laptop: 168_572, first: 240_319, parts: 491_346, limit: 125_042, pull: 839_042, push: 854_644 },
        TimePasses { minutes: 699 },
    ]);
}

#[test]
fn a_column_that_was_left_out_counted_as_known() {
    holds(&[
        Replicate { laptop: 370_000, first: 0, parts: 13, limit: 100, pull: 4, push: 7 },
        WriteThere { laptop: 370_000, case: 957_254, goal: true },
        Replicate { laptop: 370_000, first: 0, parts: 13, limit: 100, pull: 9, push: 3 },
        DeskEditsGoal { row: 412_325, column: 2691 },
        EditThere { laptop: 370_000, row: 557_228, column: 463_831 },
    ]);
}

#[test]
fn work_on_a_case_that_a_restored_server_never_gave_waited_for_it() {
    for laptop in [0, 2] {
        holds(&[
            Backup,
            HandOver { case: 2, to: laptop, immediate: false },
            Replicate { laptop, first: 0, parts: 13, limit: 100, pull: 4, push: 7 },
            Restore,
            WriteThere { laptop, case: 2, goal: true },
        ]);
    }
}

#[test]
fn a_first_sync_in_pages_of_a_restored_server_began_anew_with_each() {
    holds(&[Backup, Restore, Replicate { laptop: 2, first: 0, parts: 0, limit: 3, pull: 4, push: 7 }]);
}

#[test]
fn a_row_that_was_kept_when_it_was_salvaged_stayed_where_no_checkpoint_was() {
    holds(&[
        Replicate { laptop: 550_785, first: 626_218, parts: 475_179, limit: 74_236, pull: 366_857, push: 242_405 },
        WriteThere { laptop: 56_505, case: 563_158, goal: true },
        Backup,
        Replicate { laptop: 632_727, first: 362_029, parts: 520_107, limit: 967_510, pull: 63_442, push: 210_607 },
        Restore,
        HandOver { case: 282_652, to: 477_775, immediate: false },
    ]);
}

#[test]
fn a_row_made_before_the_first_full_page_stayed_when_its_loss_had_been_forgotten() {
    holds(&[
        Replicate { laptop: 89_442, first: 742_683, parts: 360_947, limit: 121_090, pull: 207_078, push: 633_623 },
        WriteThere { laptop: 1_034_331, case: 680_641, goal: false },
        Replicate { laptop: 514_164, first: 441_308, parts: 380_839, limit: 624_172, pull: 490_184, push: 473_856 },
        HandOver { case: 4745, to: 866_056, immediate: false },
        Purge { days: 1, hours: 77 },
    ]);
}

#[test]
fn a_row_that_was_kept_for_one_and_brought_back_by_another_was_not_sent_to_the_first() {
    holds(&[
        Backup,
        MovePerson { person: 979_845, case: 282_930 },
        Sync { device: 807_529, limit: 193_574, pull: 683_954, push: 435_100, twice: false },
        Sync { device: 1_033_772, limit: 255_845, pull: 196_295, push: 526_300, twice: true },
        Restore,
    ]);
}

#[test]
fn a_purge_moved_a_row_to_where_a_first_sync_in_pages_had_been() {
    holds(&[
        HandOver { case: 696_796, to: 144_986, immediate: false },
        HandOver { case: 753_486, to: 760_484, immediate: true },
        HandOver { case: 853_357, to: 23_714, immediate: false },
        MovePerson { person: 806_954, case: 804_052 },
        HandOver { case: 490_138, to: 401_446, immediate: true },
        TimePasses { minutes: 845 },
        TimePasses { minutes: 668 },
        HandOver { case: 646_319, to: 441_850, immediate: false },
        Replicate { laptop: 774_749, first: 807_360, parts: 105_005, limit: 90_546, pull: 707_272, push: 786_451 },
        Purge { days: 1, hours: 5 },
    ]);
}

#[test]
fn a_first_sync_that_was_held_up_made_a_device_that_had_been_away_pass_for_one_in_its_middle() {
    holds(&[
        SetsOff { device: 958_919, table: 332_353, pulls: true },
        Replicate { laptop: 272_204, first: 251_055, parts: 558_690, limit: 87_833, pull: 104_247, push: 22_808 },
        HandOver { case: 785_251, to: 877_119, immediate: false },
        TimePasses { minutes: 649 },
        Purge { days: 3, hours: 65 },
        Arrives { which: 901_336 },
    ]);
}

#[test]
fn a_device_that_began_anew_when_the_server_was_restored_was_not_asked_for_what_it_held() {
    holds(&[
        Backup,
        Replicate { laptop: 850_535, first: 848_782, parts: 1_013_729, limit: 910_536, pull: 279_025, push: 146_296 },
        Purge { days: 3, hours: 86 },
        Replicate { laptop: 860_582, first: 438_050, parts: 537_383, limit: 333_023, pull: 579_340, push: 1_005_053 },
        WriteThere { laptop: 535_640, case: 68_361, goal: true },
        Replicate { laptop: 693_359, first: 895_401, parts: 328_703, limit: 558_071, pull: 321_871, push: 743_488 },
        Restore,
    ]);
}
