//! docs/from-pg_dump.md is whole and true: every switch of the three programs stands in its
//! table once, and every switch of ours that it names is one.

use crate::pgkeep;
use pgkeep_tests::{Outcome, Server};
use std::collections::BTreeSet;

const TABLES: &str = include_str!("../../docs/from-pg_dump.md");

/// The rows of a program's table: its cells for theirs and ours.
fn rows(program: &str) -> Vec<(&'static str, &'static str)> {
    let heading = format!("\n## {program}\n");
    let (_, table) = TABLES.split_once(&heading).expect("a heading");
    let table = table.split("\n## ").next().expect("a table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        (cells.next().expect("theirs").trim_start_matches("| "), cells.next().expect("ours"))
    })
    .collect()
}

/// What stands in backquotes.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The switches that a help text begins lines with, short and long.
fn switches(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split("  ").next().unwrap_or(line).split([',', ' ']));
    let words = words.filter(|word| word.starts_with('-'));
    words.map(|word| word.split(['=', '<']).next().unwrap_or(word).to_owned()).collect()
}

fn compare(program: &str) {
    let help = Outcome::of(Server::shared(18).client_program(program).arg("--help")).ok();
    let theirs = switches(&help.stdout_text());
    assert!(theirs.len() > 50, "{theirs:?}");
    let named: Vec<&str> = rows(program).into_iter().flat_map(|(cell, _)| code(cell)).collect();
    for switch in &theirs {
        let times = named.iter().filter(|name| *name == switch).count();
        assert_eq!(times, 1, "{switch} of {program} stands {times} times in docs/from-pg_dump.md");
    }
    for name in named {
        assert!(theirs.contains(name), "{program} has no {name}");
    }
}

#[test]
fn every_switch_of_pg_dump_is_answered() {
    compare("pg_dump");
}

#[test]
fn every_switch_of_pg_restore_is_answered() {
    compare("pg_restore");
}

#[test]
fn every_switch_of_pg_dumpall_is_answered() {
    compare("pg_dumpall");
}

#[test]
fn every_switch_that_is_named_as_ours_is_one() {
    let mut seen = 0;
    for command in TABLES.split('`').skip(1).step_by(2) {
        let Some(words) = command.strip_prefix("pgkeep ") else { continue };
        let name = words.split(' ').next().expect("a command");
        let help = if name.starts_with('-') {
            pgkeep().run(["--help"]).ok().stdout_text()
        } else {
            pgkeep().run(["help", name]).ok().stdout_text()
        };
        for switch in words.split(' ').filter(|word| word.starts_with('-')) {
            let is_there = help
                .split(|c: char| c.is_whitespace() || matches!(c, ',' | '<' | '[' | ']'))
                .any(|word| word.trim_end_matches('.') == switch);
            assert!(is_there, "`pgkeep {words}`: no {switch} in the help");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_has_no_answer_says_why() {
    for program in ["pg_dump", "pg_restore", "pg_dumpall"] {
        let (_, table) = TABLES.split_once(&format!("\n## {program}\n")).expect("a heading");
        for row in table.split("\n## ").next().expect("a table").lines() {
            let cells: Vec<&str> = row.split(" | ").collect();
            let note = cells.get(2).map_or("", |note| note.trim_end_matches('|').trim());
            assert!(cells.get(1) != Some(&"none") || !note.is_empty(), "{row}");
        }
    }
}
