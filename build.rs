//! Compiles `proto/tidegate` with a pure-Rust compiler: no system `protoc` is needed.

use std::error::Error;

const SCHEMA: [&str; 5] = [
    "tidegate/v1/frame.proto",
    "tidegate/v1/business.proto",
    "tidegate/v1/room.proto",
    "tidegate/v1/quiz.proto",
    "tidegate/v1/money.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/tidegate");
    let descriptors = protox::compile(SCHEMA, ["proto"])?;
    let mut json = pbjson_build::Builder::new();
    for file in &descriptors.file {
        json.register_file_descriptor(file.clone());
    }
    // A reader ignores what it does not know: that is how the protocol may grow.
    json.ignore_unknown_fields().build(&[".tidegate.v1"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    let stored = protox::compile(["tidegate/store/v1/record.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(stored)?;
    Ok(())
}
