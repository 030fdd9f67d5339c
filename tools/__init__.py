"""What runs on the controller beside Ansible: test hosts and the demo."""
