//! The `source-postgres` binary.

fn main() -> std::process::ExitCode {
    source_postgres::cli::main()
}
