//! The fuzz targets, one module a parser or state machine. Modules that are not declared here would not run;
//! `./test` compares the list of files with the list of targets that ran.

mod admin;
mod audit;
mod break_glass;
mod certificate;
mod chain;
mod crl;
mod evidence;
mod feed;
mod hello;
mod log;
mod material;
mod name;
mod ocsp;
mod ocsp_response;
mod path;
mod pem;
mod pkcs12;
mod postgresql;
mod prober;
mod proxy_protocol;
mod publication;
mod request;
mod rules;
mod token;
mod xfcc;
