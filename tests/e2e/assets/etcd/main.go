// The etcd server. Its own module (go.etcd.io/etcd/v3) isn't published with a version, its server package is.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
