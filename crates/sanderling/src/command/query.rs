//! `sanderling query`: SQL from the command line.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches_with_schema;
use client::Client;
use futures::TryStreamExt;

use super::Failure;
use super::reaching::Reaching;

/// Run a SQL query on a server and print its rows.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling query \"SELECT count(*) FROM wikiticker\" --format json")]
pub(crate) struct Query {
    /// The query.
    sql: String,
    /// How rows are printed: a table, one JSON object a line, or CSV with a header.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    reaching: Reaching,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(self.reaching.options()?)?;
        let (schema, rows) = client.query(self.sql).await?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Table => {
                let rows: Vec<RecordBatch> = rows.try_collect().await?;
                writeln!(out, "{}", pretty_format_batches_with_schema(schema, &rows)?)?;
            }
            Format::Json => {
                let mut rows = rows;
                while let Some(batch) = rows.try_next().await? {
                    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
                    writer.write(&batch)?;
                    writer.finish()?;
                }
            }
            Format::Csv => {
                let mut rows = rows;
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
                writer.write(&RecordBatch::new_empty(schema))?;
                while let Some(batch) = rows.try_next().await? {
                    writer.write(&batch)?;
                }
            }
        }
        Ok(())
    }
}
