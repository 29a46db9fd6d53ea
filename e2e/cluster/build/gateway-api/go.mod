module modelward.dev/e2e/cluster/build/gateway-api

go 1.25.0

// Nothing is built of it: the integration ring and SUITE=exposure install its CustomResourceDefinitions. The oldest release with
// BackendTLSPolicy v1: what the API server takes under it, it takes under later ones.
require sigs.k8s.io/gateway-api v1.4.1
