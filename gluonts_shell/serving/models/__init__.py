"""Many models behind one port, a process for each. It knows processes and HTTP, and never what a model is.

front        the process that has the port: it starts the others, serves, drains, and computes nothing
app          the routes: /ping, /models, /models/NAME, /models/NAME/invoke
registry     which models are loaded, and by which process; loads, unloads, loads again what has died
relay        a request -> a model's process -> its answer
room         whether the container's memory holds one more model
forkserver   the process that has imported everything and computed nothing, and is forked for each model
process      a model's process: what it does in itself, and how the front sees it
"""
