"""The commands of `sms-pipeline`, a module a subject. Thin: they read options, call the pipeline and print."""
