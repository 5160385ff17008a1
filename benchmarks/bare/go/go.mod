module exhook.bench/noop

go 1.19

require google.golang.org/grpc v1.64.1
