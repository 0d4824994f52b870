//! `cargo demo`, `cargo verify` and `cargo soak`: parse the task, run it, exit.
//!
//! This crate has no dependencies, so that it builds in a second on a machine
//! that has nothing yet. It knows the product only by its command line.

mod checkout;
mod command;
mod demo;
mod dev;
mod fuzzer;
mod log_tail;
mod next_commands;
mod ready;
mod step;
mod task;
mod test_runner;
mod tools;
mod verify;

use std::process::ExitCode;

use checkout::Checkout;
use step::Stopped;
use task::Task;

fn main() -> ExitCode {
    let task = match Task::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let checkout = match Checkout::locate() {
        Ok(checkout) => checkout,
        Err(problem) => {
            eprintln!("cannot tell where this program runs from: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match run(task, &checkout) {
        Ok(()) => ExitCode::SUCCESS,
        // The step that failed has said so itself.
        Err(Stopped) => ExitCode::FAILURE,
    }
}

fn run(task: Task, checkout: &Checkout) -> Result<(), Stopped> {
    match task {
        Task::Tools => {
            tools::step(checkout)?;
            fuzzer::step(checkout)
        }
        Task::Verify => verify::verify(checkout),
        Task::Soak => verify::soak(checkout),
        Task::Demo => demo::demo(checkout),
        Task::DemoShielded => demo::show(checkout, demo::After::StayUp),
    }
}
