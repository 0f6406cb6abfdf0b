// What Istio tells the Envoy of one pod, from objects in a file: the same code as istiod's, and no cluster.
//
// Usage: istio-translate CONFIG.yaml MESH.yaml NAMESPACE LABELS IP OUT.json, where LABELS are k=v,k=v. Writes
// listeners and clusters in Envoy's words; what is logged goes to standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
)

func main() {
	if err := test.Wrap(func(t test.Failer) { translate(t, os.Args[1:]) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func translate(t test.Failer, words []string) {
	if len(words) != 6 {
		t.Fatal("usage: istio-translate CONFIG.yaml MESH.yaml NAMESPACE LABELS IP OUT.json")
	}
	config, known := read(t, words[0]), read(t, words[1])
	told, err := mesh.ApplyMeshConfigDefaults(known)
	if err != nil {
		t.Fatal(err)
	}
	pilot := core.NewConfigGenTest(t, core.TestOptions{ConfigString: config, MeshConfig: told})
	labels := map[string]string{}
	for _, pair := range strings.Split(words[3], ",") {
		name, value, _ := strings.Cut(pair, "=")
		labels[name] = value
	}
	proxy := pilot.SetupProxy(&model.Proxy{
		Type:            model.SidecarProxy,
		ID:              "items." + words[2],
		ConfigNamespace: words[2],
		Labels:          labels,
		IPAddresses:     []string{words[4]},
		Metadata:        &model.NodeMetadata{Namespace: words[2], Labels: labels, IstioVersion: "1.31.0"},
	})
	listeners, clusters := pilot.Listeners(proxy), pilot.Clusters(proxy)
	answer := map[string][]json.RawMessage{}
	for _, one := range listeners {
		answer["listeners"] = append(answer["listeners"], written(t, one))
	}
	for _, one := range clusters {
		answer["clusters"] = append(answer["clusters"], written(t, one))
	}
	text, err := json.Marshal(answer)
	if err == nil {
		err = os.WriteFile(words[5], text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(t test.Failer, path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func written(t test.Failer, message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
