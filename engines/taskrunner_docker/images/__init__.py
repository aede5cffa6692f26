"""The images that runs need: where they come from, who uses them, and which ones are removed again.

provision     an image for a run, by its pull policy
policy        in which order the policies of a run are tried
shared_pulls  one pull of an image, for all runs that wait for it
mirrored_pull a pull from the mirrors of a registry, or from the registry itself
image_files   an image out of a file, loaded once for all runs
image_archive what Docker gets of such a file
counted_layer how much a layer of it unpacks to
leased_image  an image that is not removed, since a run is about to use it
records       which images the workers of a home have brought, and who is about to use them
collection    removing images, the least recently used first
housekeeping  when that is done, and the size of BuildKit's cache
store         the same for one daemon, before and after each image is brought
"""
