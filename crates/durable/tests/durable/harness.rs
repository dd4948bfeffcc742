//! The harness lets a sound operation pass and catches each of the mistakes it is there for.

use crate::toy::{MakeThing, Request, State, ToyFixture};
use moorage_durable::harness as bench;
use std::panic::catch_unwind;

moorage_durable::harness!(a_sound_operation, ToyFixture<0>);

#[test]
fn a_name_that_is_chosen_and_used_in_one_step_is_caught() {
    bench::completes::<ToyFixture<1>>();
    assert!(catch_unwind(bench::survives_crash_before_every_commit::<ToyFixture<1>>).is_err());
    assert!(catch_unwind(bench::tolerates_every_step_running_twice::<ToyFixture<1>>).is_err());
}

#[test]
fn a_step_that_must_not_be_repeated_is_caught() {
    bench::completes::<ToyFixture<2>>();
    assert!(catch_unwind(bench::survives_crash_before_every_commit::<ToyFixture<2>>).is_err());
    assert!(catch_unwind(bench::tolerates_every_step_running_twice::<ToyFixture<2>>).is_err());
}

#[test]
fn what_a_clean_up_forgets_is_caught() {
    bench::completes::<ToyFixture<3>>();
    bench::survives_crash_before_every_commit::<ToyFixture<3>>();
    assert!(catch_unwind(bench::cleans_up_when_any_step_gives_up::<ToyFixture<3>>).is_err());
}

#[test]
fn what_calling_off_forgets_is_caught() {
    bench::cleans_up_when_any_step_gives_up::<ToyFixture<4>>();
    assert!(catch_unwind(bench::can_be_cancelled_at_every_step::<ToyFixture<4>>).is_err());
}

#[test]
fn the_wire_format_shows_kind_steps_and_fields() {
    let format = bench::wire_format::<MakeThing>(&Request { colour: "red".into() }, &State { name: Some("red-1".into()), tries: 1 });
    insta::assert_snapshot!(format, @r#"
    {
      "kind": "thing.make",
      "steps": [
        "choose-name",
        "make",
        "paint",
        "let-dry",
        "throw-away"
      ],
      "request": {
        "colour": "red"
      },
      "state": {
        "name": "red-1",
        "tries": 1
      }
    }
    "#);
}

#[test]
fn a_row_of_an_older_build_still_runs() {
    bench::outlives_upgrade::<ToyFixture<0>>("make", r#"{"name":"red-1","a_field_that_is_gone":1}"#);
}
