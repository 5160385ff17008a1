// A HookProvider in Go that allows everything: what one core can do at most with the usual library.
//
// Requests and replies are passed as bytes; nothing is parsed, which favours Go.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

const service = "emqx.exhook.v3.HookProvider"

var allow = []byte{0x08, 0x02, 0x18, 0x01}

type asBytes struct{}

func (asBytes) Name() string { return "proto" }

func (asBytes) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (asBytes) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

func authorize(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	return &allow, nil
}

func main() {
	// One core is what it gets; more threads than that would only take turns.
	runtime.GOMAXPROCS(1)
	encoding.RegisterCodec(asBytes{})
	listener, err := net.Listen("tcp", os.Args[1]+":"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "OnClientAuthorize", Handler: authorize}},
	}, nil)
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port, "grpc-go", grpc.Version, runtime.Version())
	log.Fatal(server.Serve(listener))
}
