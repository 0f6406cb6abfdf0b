"""The sidecar put into a pod: what stands there afterwards, and why a pod is turned away.

In: a template, as the chart renders it, and a pod or a manifest as Kubernetes has it.
Out: the pod with the sidecar in it, or one sentence that says what is wrong.
Never: a cluster asked, a file read; a pod changed that did not ask for it.
"""
