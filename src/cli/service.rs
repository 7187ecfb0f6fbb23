//! Flow service: reads requests and writes responses until the input ends.

use crate::error::Result;
use crate::flow::{self, Applied, Codec, Output, Request, RequestReader, Response};
use crate::logging;

use super::{discover, open, validate};

/// Serves requests. Open is the last request; after it, the input has acknowledgements only.
pub(super) async fn serve() -> Result<()> {
    let codec = Codec::from_env()?;
    let mut reader = RequestReader::new(tokio::io::stdin(), codec);
    let mut output = Output::new(flow::stdout()?, codec);
    while let Some(request) = reader.next().await? {
        match request {
            Request::Spec => {
                let docs_url = std::env::var("DOCS_URL").ok();
                output.respond(&flow::spec(docs_url.as_deref()))?;
            }
            Request::Discover(discover) => {
                output.respond(&Response::Discovered(discover::discover(&discover).await?))?;
            }
            Request::Validate(request) => {
                logging::status("Validating capture configuration");
                output.respond(&Response::Validated(validate::validate(&request).await?))?;
            }
            Request::Apply(request) => {
                logging::status("Applying capture configuration");
                validate::apply(&request).await?;
                output.respond(&Response::Applied(Applied::default()))?;
            }
            Request::Open(request) => {
                logging::status("Starting capture");
                return open::open(&request, reader, output).await;
            }
            Request::Acknowledge(_) => {
                return Err(crate::error::Error::new(
                    crate::error::ErrorKind::Protocol,
                    "unexpected Acknowledge request before Open",
                ));
            }
        }
    }
    Ok(())
}
