//! Traces by OpenTelemetry, behind the feature `otel`: spans are sent by OTLP over HTTP to where the standard
//! variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`), and to nowhere without them. Without the feature all of this is
//! nothing. What is worth a span is decided where it happens.

#[cfg(feature = "otel")]
pub use exported::{adopt, current, finish, layer};
#[cfg(not(feature = "otel"))]
pub use nothing::{adopt, current, finish, layer};

#[cfg(not(feature = "otel"))]
mod nothing {
    use tracing::Span;
    use tracing_subscriber::layer::Identity;

    /// Puts a span into the trace that its `traceparent` names.
    pub fn adopt(_: &Span, _: Option<&str>) {}

    /// The `traceparent` of what is done now, for who goes on with it.
    pub fn current() -> Option<String> {
        None
    }

    /// Sends what is not sent yet. For the end of the process; blocks.
    pub fn finish() {}

    /// What sends spans, where they are wanted.
    pub fn layer() -> Option<Identity> {
        None
    }
}

#[cfg(feature = "otel")]
mod exported {
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        TracerProvider as _,
    };
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
    use std::sync::OnceLock;
    use tracing::level_filters::LevelFilter;
    use tracing::{Span, Subscriber};
    use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::Filtered;
    use tracing_subscriber::registry::LookupSpan;

    /// The standard's; either of them asks for the export.
    const ENDPOINTS: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

    /// Puts a span into the trace that its `traceparent` names.
    pub fn adopt(span: &Span, parent: Option<&str>) {
        if let Some(parent) = parent.and_then(parse) {
            // Refused only for a span that is nobody's.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
    }

    /// The `traceparent` of what is done now, for who goes on with it.
    pub fn current() -> Option<String> {
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| {
            let flags = span.trace_flags().to_u8();
            format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
        })
    }

    /// Sends what is not sent yet. For the end of the process; blocks.
    pub fn finish() {
        if let Some(Err(error)) = PROVIDER.get().map(SdkTracerProvider::shutdown) {
            eprintln!("the last spans were not sent: {error}");
        }
    }

    /// What sends spans, where they are wanted.
    pub fn layer<S>() -> Option<Filtered<OpenTelemetryLayer<S, Tracer>, LevelFilter, S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        ENDPOINTS.iter().find(|name| is_set(name))?;
        // Its client blocks, so it is made where no runtime is.
        let made = std::thread::spawn(|| SpanExporter::builder().with_http().build()).join();
        let exporter = match made {
            Ok(Ok(exporter)) => exporter,
            Ok(Err(error)) => {
                eprintln!("traces are not sent: {error}");
                return None;
            }
            Err(_) => return None,
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let provider = PROVIDER.get_or_init(|| provider);
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("coordinator"));
        Some(layer.with_filter(LevelFilter::INFO))
    }

    /// The service is called as the program, unless the standard's variable names it.
    fn resource() -> Resource {
        let resource = Resource::builder();
        let program = std::env::current_exe().ok();
        let name = program.as_deref().and_then(std::path::Path::file_name);
        match name.filter(|_| std::env::var_os(SERVICE_NAME).is_none()) {
            Some(name) => resource
                .with_service_name(name.to_string_lossy().into_owned())
                .build(),
            None => resource.build(),
        }
    }

    fn parse(parent: &str) -> Option<SpanContext> {
        let mut parts = parent.split('-').skip(1);
        let trace = TraceId::from_hex(parts.next()?).ok()?;
        let span = SpanId::from_hex(parts.next()?).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        let context = SpanContext::new(
            trace,
            span,
            TraceFlags::new(flags),
            true,
            TraceState::default(),
        );
        context.is_valid().then_some(context)
    }
}
